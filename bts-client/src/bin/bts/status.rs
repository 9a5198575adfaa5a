//! `bts status`: how each replica is, and what the replicas say of one another.
//!
//! What a replica reports is its own claim. So an accusation counts only if more replicas make it
//! than can be faulty.

use std::collections::BTreeMap;
use std::time::Duration;

use bts_client::{Client, LinkState, PublicKey, ReplicaStatus, Report};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::{self, Progress};

pub(crate) async fn run(
    client: &Client,
    patience: Duration,
    output: &Output,
) -> Result<Exit, Failure> {
    let replicas = client.inspect(patience).await?;
    let size = client.config().cluster().configuration().size();
    let accusations = accusations(&replicas);
    let health = health(
        &replicas,
        &accusations,
        size.ack_quorum(),
        size.fact_quorum(),
    );
    if output.json {
        output.line(&as_json(&replicas, health, size.ack_quorum()).to_string())?;
    } else {
        output.line(&as_text(&replicas, &accusations, size.ack_quorum()))?;
    }
    Ok(health)
}

/// What somebody is accused of, and by how many replicas.
#[derive(Debug, PartialEq, Eq)]
struct Accusation {
    accused: PublicKey,
    /// Contradicting signed statements, which is proven to whoever holds them; else relayed
    /// forgeries.
    convicted: bool,
    /// The position of each accuser and the number of times it counted.
    by: Vec<(usize, u64)>,
}

fn accusations(replicas: &[ReplicaStatus]) -> Vec<Accusation> {
    let mut all: BTreeMap<(PublicKey, bool), Vec<(usize, u64)>> = BTreeMap::new();
    for (index, report) in reports(replicas) {
        for (convicted, counts) in [(false, &report.forged), (true, &report.convicted)] {
            for (accused, count) in counts {
                all.entry((*accused, convicted))
                    .or_default()
                    .push((index, *count));
            }
        }
    }
    let accusation = |((accused, convicted), by)| Accusation {
        accused,
        convicted,
        by,
    };
    all.into_iter().map(accusation).collect()
}

fn reports(replicas: &[ReplicaStatus]) -> impl Iterator<Item = (usize, &Report)> {
    let indexed = replicas.iter().enumerate();
    indexed.filter_map(|(index, replica)| Some((index, replica.report.as_ref()?)))
}

fn health(
    replicas: &[ReplicaStatus],
    accusations: &[Accusation],
    quorum: usize,
    fact: usize,
) -> Exit {
    let answered = reports(replicas).count();
    let refusing = replicas
        .iter()
        .filter(|replica| matches!(replica.link, LinkState::RefusesUs(_)))
        .count();
    let is_replica = |key| replicas.iter().any(|replica| replica.key == key);
    let is_faulty = |one: &Accusation| is_replica(one.accused) && one.by.len() >= fact;
    if answered >= quorum {
        let is_troubled = |(_, report): (usize, &Report)| report.trouble.is_some();
        let is_well = answered == replicas.len()
            && !accusations.iter().any(is_faulty)
            && !reports(replicas).any(is_troubled);
        return if is_well { Exit::Done } else { Exit::NotFound };
    }
    if answered + refusing >= quorum {
        Exit::Refused
    } else {
        Exit::NoQuorum
    }
}

const TITLES: [&str; 12] = [
    "REPLICA", "ADDRESS", "KEY", "STATE", "DATA", "VERSION", "UP", "ENTRIES", "WAITERS",
    "SESSIONS", "PEERS", "REFUSED",
];

fn as_text(replicas: &[ReplicaStatus], accusations: &[Accusation], quorum: usize) -> String {
    let progress = |replica: &ReplicaStatus| progress(replica, replicas, quorum);
    let mut rows = vec![TITLES.map(String::from)];
    rows.extend(replicas.iter().map(|one| row(one, progress(one))));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..TITLES.len()).map(width).collect();
    let cell = |(text, width): (&String, &usize)| format!("{text:width$}");
    let line = |row: &[String; 12]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let reasons = replicas.iter().filter(|replica| replica.report.is_none());
    lines.extend(reasons.map(|replica| format!("{}: {}", replica.replica, replica.link)));
    lines.extend(replicas.iter().filter_map(trouble));
    let catching_up = |one| progress::describe(one, progress(one)?);
    lines.extend(replicas.iter().filter_map(catching_up));
    lines.extend(
        accusations
            .iter()
            .map(|accusation| describe(accusation, replicas)),
    );
    lines.join("\n")
}

/// Whether a replica that answered has what the others have.
fn progress(
    replica: &ReplicaStatus,
    replicas: &[ReplicaStatus],
    quorum: usize,
) -> Option<Progress> {
    let report = replica.report.as_ref()?;
    Some(Progress::of(report, replicas, quorum))
}

fn trouble(replica: &ReplicaStatus) -> Option<String> {
    let trouble = replica.report.as_ref()?.trouble.as_ref()?;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let trouble: String = trouble.chars().map(plain).take(500).collect();
    Some(format!("{}: {trouble}", replica.replica))
}

fn row(replica: &ReplicaStatus, progress: Option<Progress>) -> [String; 12] {
    let state = match (&replica.link, &replica.report) {
        (_, Some(report)) if report.trouble.is_some() => "in trouble",
        (_, Some(_)) => "ok",
        (LinkState::Connecting | LinkState::Connected, None) => "silent",
        (LinkState::Unreachable(_), None) => "unreachable",
        (LinkState::RefusesUs(_), None) => "refuses us",
        (LinkState::NotTrusted(_), None) => "not trusted",
    };
    let of =
        |value: fn(&Report) -> String| replica.report.as_ref().map_or_else(|| "-".into(), value);
    [
        replica.replica.to_string(),
        replica.address.clone(),
        replica.key.to_string(),
        state.into(),
        progress.map_or_else(|| "-".into(), Progress::shown),
        of(|report| {
            report
                .version
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(16)
                .collect()
        }),
        of(|report| duration(report.uptime_us)),
        of(|report| report.entries.to_string()),
        of(|report| report.waiters.to_string()),
        of(|report| report.sessions.to_string()),
        of(|report| report.peers.len().to_string()),
        of(|report| report.refused.to_string()),
    ]
}

fn describe(accusation: &Accusation, replicas: &[ReplicaStatus]) -> String {
    let accused = replicas
        .iter()
        .find(|replica| replica.key == accusation.accused);
    let accused = match accused {
        Some(replica) => replica.replica.to_string(),
        None => format!("client {}", accusation.accused),
    };
    let name = |index: usize| {
        replicas
            .get(index)
            .map(|one| one.replica.to_string())
            .unwrap_or_default()
    };
    let by: Vec<String> = accusation
        .by
        .iter()
        .map(|(index, count)| format!("{} ({count})", name(*index)))
        .collect();
    let did = match accusation.convicted {
        true => "contradicted itself, signed",
        false => "relayed forged messages",
    };
    format!("{accused} {did}: seen by {}", by.join(", "))
}

fn duration(us: u64) -> String {
    match us / 1_000_000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m{}s", s / 60, s % 60),
        s @ 3600..86_400 => format!("{}h{}m", s / 3600, s / 60 % 60),
        s => format!("{}d{}h", s / 86_400, s / 3600 % 24),
    }
}

fn as_json(replicas: &[ReplicaStatus], health: Exit, quorum: usize) -> Value {
    let json = |one| replica_as_json(one, progress(one, replicas, quorum));
    let replicas: Vec<Value> = replicas.iter().map(json).collect();
    let health = match health {
        Exit::Done => "ok",
        Exit::NotFound => "degraded",
        Exit::Refused => "refused",
        _ => "no quorum",
    };
    json!({ "health": health, "replicas": replicas })
}

fn replica_as_json(replica: &ReplicaStatus, progress: Option<Progress>) -> Value {
    let connected = replica.link == LinkState::Connected;
    json!({
        "replica": replica.replica.0,
        "name": replica.name,
        "address": replica.address,
        "key": hex(replica.key),
        "connected": connected,
        "reason": (!connected).then(|| replica.link.to_string()),
        "data": progress.map(Progress::as_json),
        "report": replica.report.as_ref().map(report_as_json),
    })
}

fn report_as_json(report: &Report) -> Value {
    let by_key = |counts: &[(PublicKey, u64)]| -> Value {
        counts
            .iter()
            .map(|(key, count)| (hex(*key), json!(count)))
            .collect()
    };
    let spaces = report
        .spaces
        .iter()
        .map(|(name, count)| (name.to_string(), json!(count)));
    let counters = report
        .counters
        .iter()
        .map(|(name, count)| (name.clone(), json!(count)));
    let peers: Vec<u16> = report.peers.iter().map(|peer| peer.0).collect();
    json!({
        "version": report.version,
        "uptime_us": report.uptime_us,
        "entries": report.entries,
        "spaces": spaces.collect::<Value>(),
        "removed": report.removed,
        "waiters": report.waiters,
        "sessions": report.sessions,
        "peers": peers,
        "refused": report.refused,
        "forged": by_key(&report.forged),
        "convicted": by_key(&report.convicted),
        "signatures_checked": report.signatures_checked,
        "counters": counters.collect::<Value>(),
        "trouble": report.trouble,
        "comparing": progress::as_json(&report.comparing),
    })
}

fn hex(key: PublicKey) -> String {
    key.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use bts_client::{Comparing, ReplicaId};

    use super::*;

    fn replica(index: u16, report: Option<Report>) -> ReplicaStatus {
        let silent = LinkState::Unreachable("the peer does not answer".into());
        let link = report.as_ref().map_or(silent, |_| LinkState::Connected);
        ReplicaStatus {
            replica: ReplicaId(index),
            name: format!("replica-{index}"),
            address: format!("10.0.0.{index}:7400"),
            key: PublicKey([index as u8; 32]),
            link,
            report,
        }
    }

    fn report(forged: &[(u8, u64)]) -> Option<Report> {
        Some(Report {
            version: "0.1.0".into(),
            uptime_us: 61_000_000,
            entries: 12,
            forged: forged
                .iter()
                .map(|(key, n)| (PublicKey([*key; 32]), *n))
                .collect(),
            ..Report::default()
        })
    }

    fn health_of(replicas: &[ReplicaStatus]) -> Exit {
        health(replicas, &accusations(replicas), 3, 2)
    }

    #[test]
    fn status_health_needs_a_quorum_and_believes_more_than_f() {
        let four = |reports: [Option<Report>; 4]| -> Vec<ReplicaStatus> {
            (0..)
                .zip(reports)
                .map(|(index, report)| replica(index, report))
                .collect()
        };
        let ok = || report(&[]);
        assert_eq!(health_of(&four([ok(), ok(), ok(), ok()])), Exit::Done);
        assert_eq!(health_of(&four([ok(), None, ok(), ok()])), Exit::NotFound);
        assert_eq!(health_of(&four([ok(), None, None, ok()])), Exit::NoQuorum);
        let accuser = || report(&[(2, 7)]);
        assert_eq!(
            health_of(&four([accuser(), ok(), ok(), ok()])),
            Exit::Done,
            "one may lie"
        );
        assert_eq!(
            health_of(&four([accuser(), accuser(), ok(), ok()])),
            Exit::NotFound
        );
        let of_client = || report(&[(9, 7)]);
        assert_eq!(
            health_of(&four([of_client(), of_client(), ok(), ok()])),
            Exit::Done
        );
        let mut refusing = four([ok(), ok(), None, None]);
        refusing[2].link = LinkState::RefusesUs("no".into());
        assert_eq!(health_of(&refusing), Exit::Refused);
    }

    #[test]
    fn status_table_names_the_silent_and_the_accused() {
        let replicas = [replica(0, report(&[(1, 7)])), replica(1, None)];
        let text = as_text(&replicas, &accusations(&replicas), 3);
        let expected = "\
REPLICA  ADDRESS        KEY       STATE        DATA     VERSION  UP    ENTRIES  WAITERS  SESSIONS  PEERS  REFUSED
s0       10.0.0.0:7400  00000000  ok           cut off  0.1.0    1m1s  12       0        0         0      0
s1       10.0.0.1:7400  01010101  unreachable  -        -        -     -        -        -         -      -
s1: unreachable: the peer does not answer
s1 relayed forged messages: seen by s0 (7)";
        assert_eq!(text, expected);
    }

    #[test]
    fn status_of_a_replica_in_trouble_is_degraded_and_says_why() {
        let mut replicas: Vec<_> = (0..4).map(|index| replica(index, report(&[]))).collect();
        let troubled = replicas[1].report.as_mut().expect("it has one");
        troubled.trouble = Some("no room\nok".into());
        assert_eq!(health_of(&replicas), Exit::NotFound);
        let text = as_text(&replicas, &[], 3);
        assert!(text.contains("in trouble"), "{text}");
        assert!(text.ends_with("\ns1: no room ok"), "{text}");
        let json = as_json(&replicas, Exit::NotFound, 3);
        assert_eq!(json["replicas"][1]["report"]["trouble"], "no room\nok");
    }

    fn comparing(peer: u16, is_caught_up: bool, passed: u64, fetched: u64) -> Comparing {
        Comparing {
            peer: ReplicaId(peer),
            is_caught_up,
            began_with: 90,
            passed,
            fetched,
            fetching: 7,
            doubted: 0,
            complete_at_us: is_caught_up.then_some(5),
        }
    }

    #[test]
    fn status_tells_who_catches_up_and_how_far_it_is() {
        let mut replicas: Vec<_> = (0..4).map(|index| replica(index, report(&[]))).collect();
        let mut set = |index: usize, entries, comparing| {
            let report = replicas[index].report.as_mut().expect("it has one");
            (report.entries, report.comparing) = (entries, comparing);
        };
        // One peer may be down, or lie, or have come back itself.
        let two = [1, 2, 3].map(|peer| comparing(peer, peer < 3, 0, 0));
        set(0, 200, two.to_vec());
        set(
            1,
            200,
            [0, 2].map(|peer| comparing(peer, true, 0, 0)).to_vec(),
        );
        set(2, 200, vec![comparing(0, true, 200, 0)]);
        let behind = vec![
            comparing(0, true, 50, 0),
            comparing(1, false, 20, 64),
            comparing(2, false, 5, 3),
        ];
        set(3, 90, behind);
        let shown = |index: usize| {
            let progress = progress(&replicas[index], &replicas, 3);
            progress.expect("it answered").shown()
        };
        let all: Vec<_> = (0..4).map(shown).collect();
        let expected = ["up to date", "up to date", "cut off", "catching up, 42%"];
        assert_eq!(all, expected);
        let text = as_text(&replicas, &[], 3);
        let line = "s3: catching up with s1: 20 of 90 entries gone over, 64 fetched, 7 being fetched, 0 in doubt";
        assert!(text.ends_with(line), "{text}");
        let json = as_json(&replicas, Exit::Done, 3);
        assert_eq!(json["replicas"][3]["data"]["percent"], 42);
        assert_eq!(json["replicas"][0]["data"]["state"], "up to date");
        assert_eq!(json["replicas"][3]["report"]["comparing"][1]["fetched"], 64);
    }

    #[test]
    fn status_json_has_all_of_the_report() {
        let replicas = [replica(0, report(&[(1, 7)])), replica(1, None)];
        let json = as_json(&replicas, Exit::NotFound, 3);
        assert_eq!(json["health"], "degraded");
        assert_eq!(json["replicas"][0]["report"]["forged"]["01".repeat(32)], 7);
        assert_eq!(json["replicas"][0]["report"]["entries"], 12);
        assert_eq!(json["replicas"][1]["report"], Value::Null);
        assert_eq!(
            json["replicas"][1]["reason"],
            "unreachable: the peer does not answer"
        );
    }
}
