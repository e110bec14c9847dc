"""Where data and models meet: recipes, the loop, evaluation, run folders, results."""
