"""Tests the documents: parses pages of Markdown, runs their code blocks, compares the output, checks links.

README.md in this folder has the rules for writers.
"""
