//! What people write, or copy from somewhere: tuples, configurations, certificates and keys. The
//! reader may be an operator who made a mistake, or who was handed a file.

use bts_certs::cluster::Cluster;
use bts_certs::deployment::{DeploymentPlan, create_deployment};
use bts_certs::folder::{ClusterPlan, Existing};
use bts_certs::toml_file::TomlFile;
use bts_certs::{Description, Identity, LocalIdentity, Validity};
use bts_client::Config;
use bts_client::text;
use bts_replica::Settings;
use tempfile::TempDir;

use super::Draw;

/// Tuples, templates and replacements; what is shown reads back as the same.
pub fn text(bytes: &[u8]) {
    let Ok(typed) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(tuple) = text::parse_tuple(typed) {
        assert!(tuple.check().is_ok());
        let shown = text::show_tuple(&tuple);
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
        assert_eq!(text::parse_tuple(&shown).as_ref(), Ok(&tuple), "{shown}");
        let json = text::show_tuple_as_json(&tuple);
        assert_eq!(text::parse_tuple(&json).as_ref(), Ok(&tuple), "{json}");
        let same = text::parse_template(typed).expect("every tuple is a template");
        assert!(same.matches(&tuple));
    }
    if let Ok(template) = text::parse_template(typed) {
        assert!(template.check().is_ok());
        let shown = text::show_template(&template);
        assert_eq!(text::parse_template(&shown), Ok(template), "{shown}");
    }
    if let Ok(replacement) = text::parse_replacement(typed) {
        let taken = text::parse_tuple("(1, \"two\", 3u)").expect("a tuple");
        assert_eq!(
            replacement.fill(&taken).is_ok(),
            replacement.check(3).is_ok()
        );
    }
    let _ = text::parse_tuples(typed);
}

/// A cluster file; what it says is written, and read as the same cluster.
pub fn cluster_file(bytes: &[u8]) {
    let Some(file) = toml(bytes, "cluster.toml") else {
        return;
    };
    let cluster = match Cluster::parse(&file) {
        Ok(cluster) => cluster,
        Err(error) => return assert!(error.to_string().starts_with("cluster.toml:")),
    };
    let written = TomlFile::given("cluster.toml", cluster.to_toml());
    let again = Cluster::parse(&written).expect("our own file");
    assert_eq!(again.configuration(), cluster.configuration());
    assert_eq!(
        again.configuration().policy().hash(),
        cluster.configuration().policy().hash()
    );
    assert!(again.members().eq(cluster.members()));
}

thread_local! {
    /// The files that settings refer to.
    static DEPLOYMENT: TempDir = deployment();
}

/// The settings of a replica, or of a client, as the first byte says; in a folder that has what the
/// names of a real deployment stand for.
pub fn settings(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let is_client = draw.once_in(2);
    DEPLOYMENT.with(|folder| {
        let path = folder.path().join("settings.toml");
        let Ok(said) = str::from_utf8(draw.rest()) else {
            return;
        };
        let file = TomlFile::given(path, said);
        let told = match is_client {
            true => Config::parse(&file).err().map(|error| error.to_string()),
            false => Settings::parse(&file).err().map(|error| error.to_string()),
        };
        assert!(told.is_none_or(|told| !told.is_empty()));
    });
}

/// A certificate in DER.
pub fn certificate(bytes: &[u8]) {
    let described = Description::from_der(bytes);
    if let Ok(described) = &described {
        let shown = described.to_string();
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
    }
    if let Ok(identity) = Identity::from_der(bytes) {
        assert!(identity.name.len() <= 64 && identity.to_string().is_ascii());
        assert!(described.is_ok(), "a member can be described");
    }
}

/// Certificate, key and authority in PEM, with zeros between them.
pub fn identity(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (certificate, key, authority) = (part(), part(), part());
    if let Ok(local) = LocalIdentity::from_pem(certificate, key, authority) {
        let public = local.signing_key().verifying_key();
        assert_eq!(public.to_bytes(), local.identity().key);
        assert!(!format!("{local:?}").is_empty());
    }
}

fn toml(bytes: &[u8], name: &str) -> Option<TomlFile> {
    Some(TomlFile::given(name, str::from_utf8(bytes).ok()?))
}

/// A deployment of four replicas and a client.
pub(super) fn deployment() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = DeploymentPlan {
        members: ClusterPlan {
            replicas: 4,
            clients: vec!["alice".into()],
            hosts: vec!["127.0.0.1".into()],
            authority_validity: Validity::days(2),
            validity: Validity::days(2),
        },
        faults: 1,
        addresses: (0..4).map(|i| format!("127.0.0.1:{}", 7400 + i)).collect(),
        operators: Vec::new(),
    };
    create_deployment(folder.path(), &plan, Existing::Keep).expect("a new folder");
    folder
}
