"""The glossary of every report: the text of docs/glossary.md, and marks on its terms in a page."""
