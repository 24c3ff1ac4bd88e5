"""From images to people: a network, its test, and what is found."""
