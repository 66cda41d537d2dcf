# Everything a new user needs: each target does its own set-up.
