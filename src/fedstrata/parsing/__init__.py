"""Reading text that others wrote, within bounds: whatever it holds, a value comes out or an error that says why."""
