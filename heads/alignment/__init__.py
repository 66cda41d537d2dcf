"""The alignment objective: one projection per modality, trained by InfoNCE or SigLIP and optional terms (`terms.Terms`)."""
