//! A table that is appended to, in files of bounded size and number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::CallRecords;

/// How much is read at once while the last whole line of a file is looked for.
const STEP: u64 = 4_096;

/// A file that is appended to until it is full: then it is renamed `.1`, what was `.1` becomes `.2`, and the
/// oldest goes.
///
/// Each file begins with the header, and ends with a whole line however the last process ended: a torn one is
/// cut off, and one that has all its fields gets the line end that it lacks. One that somebody moved away or
/// emptied is begun anew; one whose header is another (of another version, or stored by a spreadsheet) is
/// put among the old ones as it is, also where there is to be only one file.
#[derive(Debug)]
pub(super) struct Rotation {
    path: PathBuf,
    header: &'static str,
    file: Option<File>,
}

impl Rotation {
    /// Files called `path` and so on; nothing is opened yet.
    pub(super) fn new(path: PathBuf, header: &'static str) -> Rotation {
        Rotation { path, header, file: None }
    }

    /// Where lines go.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, to files that may be so large and so many. It is in the file whole or not at all; on
    /// the disk it is when the system wants.
    ///
    /// # Errors
    /// The file cannot be opened, written or renamed. The next attempt starts anew.
    pub(super) fn append(&mut self, line: &str, most: CallRecords) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) if is_at(&file, &self.path) && file.metadata()?.len() > 0 => file,
            _ => self.open(most.files)?,
        };
        let length = file.metadata()?.len();
        let file = match length + line.len() as u64 > most.bytes && length > self.header.len() as u64 {
            true => {
                self.rotate(most.files)?;
                self.open(most.files)?
            }
            false => file,
        };
        self.file = Some(whole(file, line)?);
        Ok(())
    }

    /// Opens the file and makes it one that can be appended to.
    fn open(&self, files: u32) -> io::Result<File> {
        let file = self.open_any()?;
        let file = match is_headed(&file, self.header)? {
            true => mended(file, self.header)?,
            false => {
                // It is somebody's, and not ours to remove.
                self.rotate(files.max(2))?;
                self.open_any()?
            }
        };
        match file.metadata()?.len() {
            0 => whole(file, self.header),
            _ => Ok(file),
        }
    }

    /// Opens the file, whosever it is.
    fn open_any(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Makes room for a new file.
    fn rotate(&self, files: u32) -> io::Result<()> {
        let name = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            PathBuf::from(name)
        };
        // Also those of a time when there might be more.
        let mut surplus = files.max(1) - 1;
        while gone(fs::remove_file(name(surplus)))? {
            surplus += 1;
        }
        for number in (1..files).rev() {
            gone(fs::rename(name(number - 1), name(number)))?;
        }
        Ok(())
    }
}

/// Whether something was there to be removed or renamed.
fn gone(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a line whole, or leaves the file as it was.
fn whole(file: File, line: &str) -> io::Result<File> {
    let length = file.metadata()?.len();
    match (&file).write_all(line.as_bytes()) {
        Ok(()) => Ok(file),
        Err(error) => {
            // If that fails too, it is done when the file is opened again.
            let _ = file.set_len(length);
            Err(error)
        }
    }
}

/// Whether this file is still what is called so.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
}

/// Whether a file begins so, as far as it goes: it may be empty, or torn within its header.
fn is_headed(mut file: &File, header: &str) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(header.len() as u64).read_to_end(&mut start)?;
    Ok(header.as_bytes().starts_with(&start))
}

/// A file of ours that ends with a whole line.
fn mended(file: File, header: &str) -> io::Result<File> {
    let (lines, length) = (end_of_lines(&file)?, file.metadata()?.len());
    if lines == length {
        return Ok(file);
    }
    let mut last = Vec::new();
    (&file).seek(SeekFrom::Start(lines))?;
    (&file).take(STEP).read_to_end(&mut last)?;
    let is_all = lines + last.len() as u64 == length;
    // Of a header each byte counts: it is written anew.
    if lines > 0 && is_all && is_complete(&last, header) {
        return whole(file, if last.ends_with(b"\r") { "\n" } else { "\r\n" });
    }
    file.set_len(lines)?;
    Ok(file)
}

/// Whether a line without its end has as many fields as the header, and something in the last one. Of that
/// the end may be missing: it cannot be told.
fn is_complete(line: &[u8], header: &str) -> bool {
    let Ok(line) = str::from_utf8(line) else { return false };
    let line = line.strip_suffix('\r').unwrap_or(line);
    let fields = fields(line);
    !line.contains(char::is_control)
        && !line.ends_with(',')
        && fields.is_some()
        && fields == self::fields(header)
}

/// How many fields a line has (RFC 4180 §2); `None` if one in quotes does not end.
fn fields(line: &str) -> Option<usize> {
    let (mut count, mut is_quoted) = (1, false);
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => count += 1,
            _ => {}
        }
    }
    (!is_quoted).then_some(count)
}

/// Where the last whole line of a file ends.
fn end_of_lines(mut file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut step = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        step.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut step)?;
        if let Some(at) = step.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: &str = "a,b\r\n";

    /// A folder that goes away with its test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("denwa-rotation-{}-{test}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("calls.csv")
        }

        fn rotation(&self) -> Rotation {
            Rotation::new(self.file(), HEADER)
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn of(bytes: u64, files: u32) -> CallRecords {
        CallRecords { bytes, files }
    }

    #[test]
    fn lines_follow_the_header_and_go_on_after_a_restart() {
        let folder = Folder::new("lines");
        for line in ["1,2\r\n", "3,4\r\n"] {
            folder.rotation().append(line, of(100, 2)).unwrap();
        }
        assert_eq!(folder.text("calls.csv"), "a,b\r\n1,2\r\n3,4\r\n");
        let mode = fs::metadata(folder.file()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let folder = Folder::new("bounded");
        let (mut rotation, most) = (folder.rotation(), of(15, 3));
        for number in 1..=7 {
            rotation.append(&format!("{number},0\r\n"), most).unwrap();
        }
        assert_eq!(folder.names(), ["calls.csv", "calls.csv.1", "calls.csv.2"]);
        assert_eq!(folder.text("calls.csv"), "a,b\r\n7,0\r\n");
        assert_eq!(folder.text("calls.csv.1"), "a,b\r\n5,0\r\n6,0\r\n");
        assert_eq!(folder.text("calls.csv.2"), "a,b\r\n3,0\r\n4,0\r\n");
        // With fewer files, those that are too many go with the next one.
        let (mut rotation, most) = (folder.rotation(), of(15, 1));
        rotation.append("8,0\r\n", most).unwrap();
        assert_eq!(folder.names().len(), 3);
        rotation.append("9,0\r\n", most).unwrap();
        assert_eq!(
            (folder.names(), folder.text("calls.csv")),
            (vec!["calls.csv".into()], "a,b\r\n9,0\r\n".into())
        );
        // One that is too long by itself has a file of its own.
        rotation.append("a line of more than fifteen bytes\r\n", most).unwrap();
        assert_eq!(folder.text("calls.csv"), "a,b\r\na line of more than fifteen bytes\r\n");
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_is_torn() {
        let folder = Folder::new("torn");
        let whole = "a,b\r\n1,2\r\n3,4\r\n";
        for length in 0..whole.len() {
            fs::write(folder.file(), &whole[..length]).unwrap();
            folder.rotation().append("5,6\r\n", of(100, 2)).unwrap();
            // A line that lacks nothing but its end, or half of it, is none.
            let kept = if length > 5 && length % 5 >= 3 { length / 5 * 5 + 5 } else { length / 5 * 5 };
            let expected = if kept == 0 { HEADER } else { &whole[..kept] };
            assert_eq!(folder.text("calls.csv"), format!("{expected}5,6\r\n"), "{length} bytes");
        }
        assert_eq!(folder.names(), ["calls.csv"]);
        // As a power cut may leave it.
        fs::write(folder.file(), [whole.as_bytes(), &[0; 10_000]].concat()).unwrap();
        folder.rotation().append("5,6\r\n", of(100, 2)).unwrap();
        assert_eq!(folder.text("calls.csv"), format!("{whole}5,6\r\n"));
    }

    #[test]
    fn what_somebody_else_did_to_the_file_does_no_harm() {
        let folder = Folder::new("touched");
        let (mut rotation, most) = (folder.rotation(), of(100, 3));
        rotation.append("1,2\r\n", most).unwrap();
        fs::rename(folder.file(), folder.0.join("mine.csv")).unwrap();
        rotation.append("3,4\r\n", most).unwrap();
        assert_eq!(
            (folder.text("mine.csv"), folder.text("calls.csv")),
            ("a,b\r\n1,2\r\n".into(), "a,b\r\n3,4\r\n".into())
        );
        // Emptied in its place, it has no header; then a spreadsheet stores it with columns of its own.
        fs::write(folder.file(), "").unwrap();
        rotation.append("5,6\r\n", most).unwrap();
        drop(rotation);
        assert_eq!(folder.text("calls.csv"), "a,b\r\n5,6\r\n");
        fs::write(folder.file(), "\"a\",\"b\"\n5,6\n").unwrap();
        folder.rotation().append("7,8\r\n", of(100, 3)).unwrap();
        assert_eq!(folder.text("calls.csv"), "a,b\r\n7,8\r\n");
        assert_eq!(folder.text("calls.csv.1"), "\"a\",\"b\"\n5,6\n");
    }

    #[test]
    fn a_last_line_without_an_end_is_kept_if_it_has_all_its_fields() {
        let folder = Folder::new("unended");
        for (last, kept) in [
            ("5,6", "5,6\r\n"),
            ("5,6\r", "5,6\r\n"),
            ("\"5,5\",6", "\"5,5\",6\r\n"),
            ("\"5,6", ""),
            ("5,", ""),
            ("5,6,7", ""),
            ("5,6\0", ""),
            ("5,6\r7", ""),
            ("\r\r", ""),
        ] {
            fs::write(folder.file(), format!("{HEADER}1,2\r\n{last}")).unwrap();
            folder.rotation().append("7,8\r\n", of(100, 2)).unwrap();
            assert_eq!(folder.text("calls.csv"), format!("{HEADER}1,2\r\n{kept}7,8\r\n"), "{last:?}");
        }
        let long = format!("{HEADER}1,{}", "2".repeat(STEP as usize));
        fs::write(folder.file(), long).unwrap();
        folder.rotation().append("7,8\r\n", of(10_000, 2)).unwrap();
        assert_eq!(folder.text("calls.csv"), format!("{HEADER}7,8\r\n"));
        assert_eq!(folder.names(), ["calls.csv"]);
    }

    #[test]
    fn what_is_not_ours_is_moved_aside_as_it_is() {
        let folder = Folder::new("foreign");
        for files in [1, 3] {
            for foreign in ["a,b\n1,2\n3,4", "a,b\r1,2\r3,4\r", "a;b\r\n1;2\r\n3;4", "x", "a,b,c\r\n"] {
                fs::write(folder.file(), foreign).unwrap();
                folder.rotation().append("7,8\r\n", of(100, files)).unwrap();
                assert_eq!(folder.text("calls.csv"), "a,b\r\n7,8\r\n");
                assert_eq!(folder.text("calls.csv.1"), foreign);
            }
        }
    }

    #[test]
    fn a_full_disk_and_no_folder_are_errors_until_it_is_right() {
        let folder = Folder::new("full");
        let (mut rotation, most) = (folder.rotation(), of(100, 3));
        std::os::unix::fs::symlink("/dev/full", folder.file()).unwrap();
        assert_eq!(rotation.append("1,2\r\n", most).unwrap_err().kind(), ErrorKind::StorageFull);
        fs::remove_dir_all(&folder.0).unwrap();
        assert_eq!(rotation.append("1,2\r\n", most).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(&folder.0).unwrap();
        rotation.append("3,4\r\n", most).unwrap();
        assert_eq!(folder.text("calls.csv"), "a,b\r\n3,4\r\n");
    }
}
