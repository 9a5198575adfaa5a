//! The files of a deployment: `ca.crt`, `ca.key`, and `<name>.crt`, `<name>.key` of each member.
//!
//! Private keys are created with mode 0600, and folders that are made with 0700. Nothing that
//! exists is overwritten unless told so by [`Existing::Replace`], and then each file is replaced in
//! one step, so that no moment shows half a key. Whoever holds `ca.key` can be anybody: it belongs
//! on no replica.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::authority::{Authority, IssueError, Issued, Request, Validity};
use crate::identity::Identity;
use crate::local::{LoadError, LocalIdentity};
use crate::subject::{Subject, SubjectError, is_usable_name};
use crate::toml_file::FileError;

const AUTHORITY: &str = "ca";

/// What becomes of files that exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// They stay, and the call fails before it writes anything.
    Keep,
    /// They are replaced.
    Replace,
}

/// Why a folder could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file would have been overwritten.
    #[error("{} exists already; it was not touched", .0.display())]
    Exists(PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two members of a cluster have one name.
    #[error("the name {0} is given twice")]
    Twice(String),
    /// A member's name or host is of no use.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// There must be one address per replica.
    #[error("{addresses} addresses for {replicas} replicas: give one for each")]
    Addresses {
        /// Replicas planned.
        replicas: usize,
        /// Addresses given.
        addresses: usize,
    },
    /// The members make no cluster.
    #[error(transparent)]
    Cluster(#[from] FileError),
    /// The authority issued nothing.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// What is in the folder is no identity.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A whole cluster for one folder.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// How many replicas.
    pub replicas: u32,
    /// The hosts under which every replica may be dialed, besides its own `replica-<index>`.
    pub hosts: Vec<String>,
    /// The names of the clients.
    pub clients: Vec<String>,
    /// How long the authority is valid.
    pub authority_validity: Validity,
    /// How long the members' certificates are valid.
    pub validity: Validity,
}

/// Makes an authority: `ca.crt` and `ca.key`.
pub fn create_authority(
    folder: &Path,
    validity: Validity,
    existing: Existing,
) -> Result<Authority, FolderError> {
    let authority = Authority::create(validity)?;
    let files = [
        (
            key_path(folder, AUTHORITY),
            authority.key_pem(),
            Kind::Secret,
        ),
        (
            certificate_path(folder, AUTHORITY),
            authority.certificate_pem().into(),
            Kind::Public,
        ),
    ];
    write_files(folder, &files, existing)?;
    Ok(authority)
}

/// Takes up the authority in a folder.
pub fn open_authority(folder: &Path) -> Result<Authority, FolderError> {
    let certificate = read(certificate_path(folder, AUTHORITY))?;
    let key = read(key_path(folder, AUTHORITY))?;
    Ok(Authority::from_pem(&certificate, &key)?)
}

/// Makes a member: `<name>.crt` and `<name>.key`.
pub fn add_member(
    folder: &Path,
    authority: &Authority,
    subject: &Subject,
    validity: Validity,
    existing: Existing,
) -> Result<Identity, FolderError> {
    let issued = authority.issue(subject, validity)?;
    let identity = issued.local(authority)?.identity().clone();
    write_files(folder, &member_files(folder, subject, issued), existing)?;
    Ok(identity)
}

/// Makes a key and a request for a certificate: `<name>.key` and `<name>.csr`. For hosts whose key
/// is never to leave them.
pub fn add_request(folder: &Path, name: &str, existing: Existing) -> Result<PathBuf, FolderError> {
    // Whether it is to be a replica or a client is the authority's decision.
    if !is_usable_name(name) || name.eq_ignore_ascii_case(AUTHORITY) {
        return Err(SubjectError::Name(name.into()).into());
    }
    let request = Request::create()?;
    let path = folder.join(format!("{name}.csr"));
    let files = [
        (key_path(folder, name), request.key_pem, Kind::Secret),
        (path.clone(), request.request_pem, Kind::Public),
    ];
    write_files(folder, &files, existing)?;
    Ok(path)
}

/// Answers a request: `<name>.crt`, for the key in the request and the rights in `subject`.
pub fn sign_request(
    folder: &Path,
    authority: &Authority,
    request: &Path,
    subject: &Subject,
    validity: Validity,
    existing: Existing,
) -> Result<PathBuf, FolderError> {
    let certificate = authority.sign_request(&read(request.into())?, subject, validity)?;
    let path = certificate_path(folder, subject.name());
    write_files(
        folder,
        &[(path.clone(), certificate, Kind::Public)],
        existing,
    )?;
    Ok(path)
}

/// Makes an authority, replicas and clients. All names are checked before anything is written.
pub fn create_cluster(
    folder: &Path,
    plan: &ClusterPlan,
    existing: Existing,
) -> Result<Vec<Identity>, FolderError> {
    let subjects = subjects(plan)?;
    let mut paths = vec![
        certificate_path(folder, AUTHORITY),
        key_path(folder, AUTHORITY),
    ];
    for subject in &subjects {
        paths.extend([
            certificate_path(folder, &subject.name),
            key_path(folder, &subject.name),
        ]);
    }
    check_absent(paths.iter(), existing)?;
    let authority = create_authority(folder, plan.authority_validity, existing)?;
    subjects
        .iter()
        .map(|subject| add_member(folder, &authority, subject, plan.validity, existing))
        .collect()
}

/// Loads a member from the folder, to be that member.
pub fn load_member(folder: &Path, name: &str) -> Result<LocalIdentity, LoadError> {
    LocalIdentity::load(
        &certificate_path(folder, name),
        &key_path(folder, name),
        &certificate_path(folder, AUTHORITY),
    )
}

/// Where the certificate of a member (or of `ca`) is.
pub fn certificate_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.crt"))
}

/// Where the private key of a member (or of `ca`) is.
pub fn key_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.key"))
}

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Secret,
    Public,
}

fn subjects(plan: &ClusterPlan) -> Result<Vec<Subject>, FolderError> {
    let mut subjects: Vec<Subject> = Vec::new();
    for index in 0..plan.replicas {
        subjects.push(Subject::replica(index, &plan.hosts)?);
    }
    for name in &plan.clients {
        let subject = Subject::client(name)?;
        if subjects.iter().any(|s| s.name.eq_ignore_ascii_case(name)) {
            return Err(FolderError::Twice(name.clone()));
        }
        subjects.push(subject);
    }
    Ok(subjects)
}

fn member_files(folder: &Path, subject: &Subject, issued: Issued) -> [(PathBuf, String, Kind); 2] {
    [
        (
            key_path(folder, &subject.name),
            issued.key_pem,
            Kind::Secret,
        ),
        (
            certificate_path(folder, &subject.name),
            issued.certificate_pem,
            Kind::Public,
        ),
    ]
}

fn read(file: PathBuf) -> Result<String, FolderError> {
    fs::read_to_string(&file).map_err(|source| FolderError::Read { file, source })
}

pub(crate) fn write_files(
    folder: &Path,
    files: &[(PathBuf, String, Kind)],
    existing: Existing,
) -> Result<(), FolderError> {
    check_absent(files.iter().map(|(path, ..)| path), existing)?;
    create_folder(folder)?;
    for (path, text, kind) in files {
        let written = match existing {
            Existing::Keep => write_new(path, text, *kind),
            Existing::Replace => replace(path, text, *kind),
        };
        written.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FolderError::Exists(path.clone()),
            _ => FolderError::Write {
                file: path.clone(),
                source,
            },
        })?;
    }
    Ok(())
}

/// For a clear message before anything is written; that nothing is overwritten is ensured again
/// when each file is created.
pub(crate) fn check_absent<'a>(
    mut paths: impl Iterator<Item = &'a PathBuf>,
    existing: Existing,
) -> Result<(), FolderError> {
    match paths.find(|path| existing == Existing::Keep && path.symlink_metadata().is_ok()) {
        Some(path) => Err(FolderError::Exists(path.clone())),
        None => Ok(()),
    }
}

fn create_folder(folder: &Path) -> Result<(), FolderError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| FolderError::Write {
        file: folder.into(),
        source,
    })
}

fn write_new(path: &Path, text: &str, kind: Kind) -> io::Result<()> {
    let mut file = create_new(path, kind)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn replace(path: &Path, text: &str, kind: Kind) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{:08x}.tmp", rand::random::<u32>()));
    let beside = PathBuf::from(beside);
    write_new(&beside, text, kind)?;
    fs::rename(&beside, path).inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// Never follows a link and never opens what exists.
fn create_new(path: &Path, kind: Kind) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        let mode = if kind == Kind::Secret { 0o600 } else { 0o644 };
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    }
    #[cfg(not(unix))]
    let _ = kind;
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_file_that_appears_after_the_check_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ca.key");
        fs::write(&path, "precious").expect("written");
        let error = write_new(&path, "new", Kind::Secret).expect_err("it exists");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("it is still there"), b"precious");
    }
}
