"""What drift detection is worth: simulated, against peers, and on real data whose world changed."""
