"""Starting commands elsewhere: side by side on one machine, in several processes (torchrun), or as Slurm jobs."""
