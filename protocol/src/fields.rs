//! Fields of an encoded protobuf message, read one after the other without decoding it.

/// One field of an encoded message.
#[derive(Clone, Copy)]
pub(crate) struct Encoded<'a> {
    /// The field's number.
    pub(crate) number: u64,
    /// The field's value.
    pub(crate) value: Value<'a>,
}

/// The value of a field, as far as the encoding tells.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A varint.
    Number(u64),
    /// Four or eight bytes.
    Fixed(&'a [u8]),
    /// A length-delimited value: text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// Bytes that are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAMessage;

/// The fields of an encoded message. Groups are refused: nothing here has them, and a decoder that
/// skips them would read on where this one stops.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn of(encoded: &'a [u8]) -> Self {
        Self(encoded)
    }

    fn field(&mut self) -> Option<Encoded<'a>> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return None,
        };
        Some(Encoded {
            number: key >> 3,
            value,
        })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Reads a varint: at most ten bytes of seven bits each. Most are one byte.
    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match self.0.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.take(1)? else { return None };
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Encoded<'a>, NotAMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(NotAMessage))
    }
}

/// Numbers packed into one length-delimited value.
pub(crate) struct Packed<'a>(Fields<'a>);

impl<'a> Packed<'a> {
    pub(crate) const fn of(content: &'a [u8]) -> Self {
        Self(Fields::of(content))
    }
}

impl Iterator for Packed<'_> {
    type Item = Result<u64, NotAMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self(fields) = self;
        if fields.0.is_empty() {
            return None;
        }
        let number = fields.varint();
        if number.is_none() {
            fields.0 = &[];
        }
        Some(number.ok_or(NotAMessage))
    }
}
