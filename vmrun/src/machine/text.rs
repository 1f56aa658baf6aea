//! Words of a command line in JSON: text where they are text, numbers where they are not.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are nearly always UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes(Vec<u8>),
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        match Form::deserialize(deserializer).map_err(|_| D::Error::custom("neither text nor bytes"))? {
            Form::Text(text) => Ok(Text(text.into_bytes())),
            Form::Bytes(bytes) => Ok(Text(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn bytes_come_back_as_they_were() {
        for bytes in [&b"sh"[..], b"\xff\x00", b"[1]"] {
            let json = serde_json::to_string(&Text(bytes.to_vec())).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap().0, bytes, "{json}");
        }
        assert_eq!(serde_json::to_string(&Text(b"sh".to_vec())).unwrap(), "\"sh\"");
    }
}
