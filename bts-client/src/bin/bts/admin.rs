//! `bts admin`: what operators do to a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bts_certs::{Identity, Role};
use bts_client::admin::{ReplaceError, Replacement, replace};
use bts_client::{Config, PublicKey, ReplicaId};

use crate::args::{Admin, Replace};
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub(crate) async fn run(
    config: &Config,
    command: &Admin,
    patience: Duration,
    output: &Output,
) -> Result<Exit, Failure> {
    match command {
        Admin::Replace(said) => replace_member(config, said, patience, output).await,
    }
}

async fn replace_member(
    config: &Config,
    said: &Replace,
    patience: Duration,
    output: &Output,
) -> Result<Exit, Failure> {
    let seat = ReplicaId(said.seat);
    let key = said
        .certificate
        .as_deref()
        .map(|path| key_in(path, config, seat));
    let change = Replacement {
        seat,
        key: key.transpose()?,
        address: said.address.clone(),
        lost: said.lost.iter().copied().map(ReplicaId).collect(),
        patience,
    };
    let work = said.work.clone();
    let work = work.unwrap_or_else(|| PathBuf::from(format!("replace-{}", said.seat)));
    let mut tell = |line: String| {
        // Nothing can be done if stderr is closed.
        let _ = output.complain(&line);
    };
    let next = replace(config, &change, &work, &mut tell).await?;
    let file = work.join("cluster.toml");
    output.line(&file.display().to_string())?;
    let empty = next.founding().map(|founding| founding.empty.clone());
    let empty: Vec<_> = empty
        .iter()
        .flatten()
        .map(|seat| seat.0.to_string())
        .collect();
    tell(format!(
        "done: this is configuration {} of the cluster. Start replica {} with that cluster file and an \
         empty data directory; clients and operators need the file too",
        next.configuration().number(),
        empty.join(", "),
    ));
    Ok(Exit::Done)
}

/// The key of who takes a seat. Peers will dial it under the name in its certificate.
fn key_in(path: &Path, config: &Config, seat: ReplicaId) -> Result<PublicKey, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
    let identity = Identity::load(path).map_err(|error| Failure::new(Exit::Usage, error))?;
    let name = config
        .cluster()
        .member(seat)
        .map(|member| member.name.clone());
    match name {
        Some(name) if identity.role == Role::Replica && identity.name == name => {
            Ok(PublicKey(identity.key))
        }
        Some(name) => Err(wrong(format!(
            "it is that of {identity}, and has to be that of replica {name}: bts-certs replica makes it"
        ))),
        None => Err(wrong(ReplaceError::NoSuchReplica(seat).to_string())),
    }
}
