"""Command-line programs: one module per verb of the console command `tagpose`."""
