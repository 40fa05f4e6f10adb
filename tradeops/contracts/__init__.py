"""What crosses a process boundary: documents, their signatures, page layouts, the agent's protocol."""
