//! Files on their way between host and guest: what cp, diff, commit and export ask guest-init for.
