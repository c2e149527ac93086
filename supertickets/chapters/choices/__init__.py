"""Paper against published code: what each choice in which they differ changes, on paired training sets."""
