"""What degradation did to a row, in words and on a piano roll, with its sound: `keybed listen` and the examples of reports."""
