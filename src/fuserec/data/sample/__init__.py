"""A synthetic bookshop that the program makes itself: texts, drawn covers, readers with planted tastes."""
