//! Closed lists of names: an enum with one canonical text for each value.

/// Error for a text that is not in a closed list of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}; write one of {choices}")]
pub struct UnknownName {
    text: String,
    what: &'static str,
    choices: &'static str,
}

impl UnknownName {
    pub(crate) fn new(text: &str, what: &'static str, choices: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            what,
            choices,
        }
    }
}

/// Declares an enum with `ALL`, `name`, `Display` and `FromStr` (which ignores case).
macro_rules! named {
    (
        $(#[$meta:meta])* $type:ident, $what:literal, $choices:literal {
            $( $(#[$variant_meta:meta])* $variant:ident = $name:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $( $(#[$variant_meta])* $variant, )+ }

        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The canonical text.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::named::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.name().eq_ignore_ascii_case(text))
                    .ok_or_else(|| $crate::named::UnknownName::new(text, $what, $choices))
            }
        }
    };
}
pub(crate) use named;
