"""Workbooks (XLSX, XLS, ODS): a sheet as lines of text, by a program with limits."""
