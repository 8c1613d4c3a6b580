"""Runs what the documents show: reads pages of Markdown, runs their code blocks, compares output, checks links.

README.md in this folder has the rules for those who write pages.
"""
