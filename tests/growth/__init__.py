"""How long regular expressions take as their input grows: found in the code, attacked, measured."""
