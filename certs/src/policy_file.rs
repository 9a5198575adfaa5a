//! The part of the cluster file that says who may connect, and who may do what in which space.
//!
//! All of it is optional: what is not said is allowed to every client of the deployment's authority.
//! A right for a key that may not even connect, or for a replica's key, is a contradiction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bts_core::configuration::{Allow, Policy, SpacePolicy};
use bts_core::ids::{PublicKey, SpaceName};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::cluster::{key_of, quoted};
use crate::identity::hex;
use crate::toml_file::{FileError, TomlFile};

/// The table `policy`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicyFile {
    clients: AllowFile,
    operators: Vec<Spanned<String>>,
    others: SpaceFile,
    spaces: BTreeMap<Spanned<String>, SpaceFile>,
}

/// The rights in a space.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpaceFile {
    insert: AllowFile,
    read: AllowFile,
    take: AllowFile,
}

/// `"all"` or a list of keys.
#[derive(Default)]
enum AllowFile {
    #[default]
    All,
    Keys(Vec<Spanned<String>>),
}

/// What a key must be to have a right.
struct Rights<'a> {
    file: &'a TomlFile,
    replicas: &'a [PublicKey],
    clients: Allow,
}

impl PolicyFile {
    /// The policy of a cluster of these replicas.
    pub(crate) fn policy(
        self,
        file: &TomlFile,
        replicas: &[PublicKey],
    ) -> Result<Policy, FileError> {
        let mut rights = Rights {
            file,
            replicas,
            clients: Allow::All,
        };
        let operators = rights.operators(&self.operators)?;
        rights.clients = rights.allow(&self.clients)?;
        let others = rights.space(&self.others)?;
        let mut spaces = BTreeMap::new();
        for (said, space) in &self.spaces {
            let name = SpaceName::new(said.get_ref())
                .map_err(|error| file.wrong(said.span(), error.to_string()))?;
            spaces.insert(name, rights.space(space)?);
        }
        Ok(Policy {
            spaces,
            others,
            clients: rights.clients,
            operators,
        })
    }
}

impl Rights<'_> {
    fn space(&self, space: &SpaceFile) -> Result<SpacePolicy, FileError> {
        Ok(SpacePolicy {
            insert: self.allow(&space.insert)?,
            read: self.allow(&space.read)?,
            take: self.allow(&space.take)?,
        })
    }

    /// Called while every client may connect: an operator need not be a client.
    fn operators(&self, said: &[Spanned<String>]) -> Result<BTreeSet<PublicKey>, FileError> {
        self.keys(said)
    }

    fn allow(&self, said: &AllowFile) -> Result<Allow, FileError> {
        match said {
            AllowFile::All => Ok(Allow::All),
            AllowFile::Keys(said) => Ok(Allow::Keys(self.keys(said)?)),
        }
    }

    fn keys(&self, said: &[Spanned<String>]) -> Result<BTreeSet<PublicKey>, FileError> {
        let mut keys = BTreeSet::new();
        for said in said {
            let key = key_of(self.file, said)?;
            self.check(&key, &keys)
                .map_err(|reason| self.file.wrong(said.span(), reason))?;
            keys.insert(key);
        }
        Ok(keys)
    }

    fn check(&self, key: &PublicKey, listed: &BTreeSet<PublicKey>) -> Result<(), String> {
        if listed.contains(key) {
            return Err(format!("the key {key} is listed twice"));
        }
        if let Some(index) = self.replicas.iter().position(|replica| replica == key) {
            return Err(format!(
                "the key {key} is that of replica {index}; a replica is no client"
            ));
        }
        match &self.clients {
            Allow::Keys(clients) if !clients.contains(key) => Err(format!(
                "the key {key} has a right here, but is not in `policy.clients`, so it cannot connect"
            )),
            Allow::Keys(_) | Allow::All => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for AllowFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllowVisitor)
    }
}

struct AllowVisitor;

impl<'de> Visitor<'de> for AllowVisitor {
    type Value = AllowFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"all\" or a list of public keys in hexadecimal")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AllowFile, E> {
        match text {
            "all" => Ok(AllowFile::All),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<AllowFile, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = items.next_element()? {
            keys.push(key);
        }
        Ok(AllowFile::Keys(keys))
    }
}

/// The policy as the cluster file writes it.
pub(crate) fn render_policy(policy: &Policy) -> String {
    let mut text = format!(
        "\n# Who may connect, and rights per space: \"all\", or a list of public keys.\n\
         [policy]\nclients = {}\n",
        render_allow(&policy.clients)
    );
    if !policy.operators.is_empty() {
        text.push_str(&format!(
            "# Who may change the members of this cluster: bts admin.\noperators = {}\n",
            render_keys(&policy.operators)
        ));
    }
    if policy.others != SpacePolicy::default() {
        text.push_str(&format!(
            "\n[policy.others]\n{}",
            render_space(&policy.others)
        ));
    }
    for (name, space) in &policy.spaces {
        let name = quoted(name.as_str());
        text.push_str(&format!(
            "\n[policy.spaces.{name}]\n{}",
            render_space(space)
        ));
    }
    text
}

fn render_space(space: &SpacePolicy) -> String {
    format!(
        "insert = {}\nread = {}\ntake = {}\n",
        render_allow(&space.insert),
        render_allow(&space.read),
        render_allow(&space.take),
    )
}

fn render_allow(allow: &Allow) -> String {
    match allow {
        Allow::All => "\"all\"".into(),
        Allow::Keys(keys) => render_keys(keys),
    }
}

fn render_keys(keys: &BTreeSet<PublicKey>) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| format!("\"{}\"", hex(&key.0)))
        .collect();
    format!("[{}]", keys.join(", "))
}
