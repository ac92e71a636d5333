"""Serving from a bundle: the retriever, its live swap, and the HTTP server.

Public: `serving.retriever.Retriever` answers from one bundle, `serving.live.LiveRetriever` follows the published one.
Commands: `serving.server` (HTTP) and `serving.show` (a user's lists in the terminal). Start with `retriever.py`;
`search/` finds the titles, `response/` names and explains them, `http/` holds the server's parts.
"""
