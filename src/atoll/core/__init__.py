"""What every part needs: errors, settings, progress, resources. Imports nothing of ours."""
