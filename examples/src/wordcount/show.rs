//! What the user sees in the end.

use std::time::Duration;

use super::master::Result;
use super::words::Counts;

/// The most frequent words, what each worker did, and how long it took.
pub fn summary(result: &Result, took: Duration, sequential: Duration, top: usize) -> String {
    let mut text = String::new();
    let total: u64 = result.counts.values().sum();
    let mut words: Vec<_> = result.counts.iter().collect();
    words.sort_by(|(a, na), (b, nb)| nb.cmp(na).then_with(|| a.cmp(b)));
    for (word, times) in words.into_iter().take(top) {
        text += &format!("{times:>9}  {word}\n");
    }
    text += &format!("{total} words, {} different\n\n", result.counts.len());
    for (worker, tasks) in &result.tasks {
        let died = result.died.get(worker).map_or_else(String::new, |given| {
            format!("; was killed, {given} unfinished given to others")
        });
        text += &format!("{worker:>10}: {tasks} tasks{died}\n");
    }
    for (worker, given) in result
        .died
        .iter()
        .filter(|(name, _)| !result.tasks.contains_key(*name))
    {
        text += &format!("{worker:>10}: was killed, {given} unfinished given to others\n");
    }
    text += &format!(
        "took {:.2} s through the tuple space, {:.2} s in one thread without it\n",
        took.as_secs_f64(),
        sequential.as_secs_f64(),
    );
    text
}

/// The counts as one JSON object.
pub fn json(counts: &Counts) -> String {
    serde_json::to_string(counts).expect("a map of texts and numbers is always JSON")
}
