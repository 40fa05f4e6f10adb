"""What people type: one thin module per noun, one error boundary (app), one printer (render)."""
