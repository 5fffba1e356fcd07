"""Time of regular expressions as their input grows: found in the code, attacked, measured."""
