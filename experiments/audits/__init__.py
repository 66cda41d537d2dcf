"""Audits of the data: can a label be told from something that is not music?"""
