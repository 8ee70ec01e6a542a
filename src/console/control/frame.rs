//! Frames: four octets with the length of the rest (little end first), one with the version, and a message
//! in postcard's form.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What both sides have to speak. Goes up whenever a message changes.
pub const VERSION: u8 = 3;

/// The octets of a length.
pub const HEADER: usize = 4;

/// The longest request, in octets without the length.
pub const MAX_REQUEST: usize = 64 << 10;

/// The longest reply, in octets without the length: a page of 128 calls that ring 32 phones each.
pub const MAX_REPLY: usize = 4 << 20;

/// Why something is no frame of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than it may be, in octets.
    TooLong(usize),
    /// Of a version that this program does not speak.
    Version(u8),
    /// Not what it should be.
    Garbled,
}

impl std::error::Error for FrameError {}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong(length) => write!(f, "{length} octets are too many"),
            FrameError::Version(version) => write!(
                f,
                "the exchange speaks version {version} of the control protocol, and this command version \
                 {VERSION}: use the `denwa` that it was started with, or restart it"
            ),
            FrameError::Garbled => f.write_str("what came is not a message of denwa's"),
        }
    }
}

/// A message as a frame.
///
/// # Errors
///
/// If it is longer than `most`.
pub fn encode<T: Serialize>(message: &T, most: usize) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER];
    frame.push(VERSION);
    let mut frame = postcard::to_extend(message, frame).map_err(|_| FrameError::Garbled)?;
    let length = frame.len() - HEADER;
    if length > most {
        return Err(FrameError::TooLong(length));
    }
    if let Some(header) = frame.get_mut(..HEADER) {
        header.copy_from_slice(&(length as u32).to_le_bytes());
    }
    Ok(frame)
}

/// The length of what follows a header.
///
/// # Errors
///
/// If it is 0 or more than `most`.
pub fn length(header: [u8; HEADER], most: usize) -> Result<usize, FrameError> {
    match u32::from_le_bytes(header) as usize {
        0 => Err(FrameError::Garbled),
        length if length > most => Err(FrameError::TooLong(length)),
        length => Ok(length),
    }
}

/// The message in a frame, without its length. All of it must be used.
///
/// # Errors
///
/// If it is of another version, or none.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    match frame.split_first() {
        None => Err(FrameError::Garbled),
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            _ => Err(FrameError::Garbled),
        },
        Some((&version, _)) => Err(FrameError::Version(version)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::console::control::Request;

    fn requests() -> Vec<Request> {
        vec![Request::Status, Request::Phones { after: Some("101".into()) }, Request::Calls { after: 300 }]
    }

    #[test]
    fn what_goes_in_comes_out() {
        for request in requests() {
            let frame = encode(&request, MAX_REQUEST).unwrap();
            let header = frame[..HEADER].try_into().unwrap();
            assert_eq!(length(header, MAX_REQUEST).unwrap(), frame.len() - HEADER);
            assert_eq!(decode::<Request>(&frame[HEADER..]).unwrap(), request);
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_or_of_another_version_is_none() {
        for request in requests() {
            let frame = encode(&request, MAX_REQUEST).unwrap();
            let body = &frame[HEADER..];
            for end in 0..body.len() {
                assert!(decode::<Request>(&body[..end]).is_err(), "{request:?} up to {end}");
            }
            assert_eq!(decode::<Request>(&[body, &[0]].concat()), Err(FrameError::Garbled));
            let other = [&[VERSION + 1], &body[1..]].concat();
            assert_eq!(decode::<Request>(&other), Err(FrameError::Version(VERSION + 1)));
        }
        assert_eq!(length([0; 4], MAX_REQUEST), Err(FrameError::Garbled));
        assert_eq!(length([1, 0, 1, 0], MAX_REQUEST), Err(FrameError::TooLong(65_537)));
        let long = Request::Phones { after: Some("1".repeat(MAX_REQUEST)) };
        assert!(matches!(encode(&long, MAX_REQUEST), Err(FrameError::TooLong(_))));
    }
}
