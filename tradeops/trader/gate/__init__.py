"""The one door to the wire. Everything that adds risk passes here; nothing that reduces it is ever held back."""
