"""The pages, a module for each place in the navigation; the parts that they share lie above."""
