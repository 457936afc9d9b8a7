//! Why did this session go where it went?

use std::fmt;

use proto::{NodeId, Username};

use super::{Exclusion, NoServer, Score};

/// One placement with everything that led to it, for logs, tables and people.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Whose session.
    pub user: Username,
    /// Whether there is a place.
    pub verdict: Verdict,
    /// The servers that were looked at: those asked, in that order, then by score.
    pub candidates: Vec<Asked>,
    /// How many servers could have been chosen.
    pub n_eligible: usize,
    /// Those that couldn't.
    pub excluded: Vec<Excluded>,
    /// This replica was cut off from the farm and used the last known states.
    pub cut_off: bool,
    /// No eligible server had told its load.
    pub loads_unknown: bool,
}

/// How a placement ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A server took the session.
    Placed {
        /// Its place among the candidates by score, from 1.
        rank: usize,
    },
    /// None did.
    NotPlaced(NoServer),
}

/// A candidate and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The server.
    pub node: NodeId,
    /// Its score, after a refusal with the state that came with it.
    pub score: Score,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Others were better.
    NotAsked,
    /// It took the session.
    Admitted,
    /// It refused: too many log-ins at once for its size.
    Crowded,
    /// It refused even the ask that crowding is no reason to refuse.
    RefusedThoughForced,
    /// It refused, and its state says why.
    Excluded(Exclusion),
    /// It didn't answer in time.
    TimedOut,
    /// It couldn't be asked.
    Unavailable,
}

/// A server that couldn't be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The server.
    pub node: NodeId,
    /// Why.
    pub exclusion: Exclusion,
}

impl Decision {
    /// The server that took the session.
    #[must_use]
    pub fn chosen(&self) -> Option<&Asked> {
        let mut candidates = self.candidates.iter();
        candidates.find(|candidate| candidate.outcome == Outcome::Admitted)
    }

    /// The reason in one cell of a table: at most 60 characters.
    #[must_use]
    pub fn why(&self) -> String {
        let why = match (self.verdict, self.chosen()) {
            (Verdict::Placed { rank }, Some(chosen)) => self.why_chosen(rank, chosen),
            (Verdict::NotPlaced(why), _) => why.to_string(),
            (Verdict::Placed { .. }, None) => String::new(),
        };
        why.chars().take(MAX_WHY_CHARS).collect()
    }

    fn why_chosen(&self, rank: usize, chosen: &Asked) -> String {
        if let Some(last) = self.losers().last() {
            let n_more = match self.losers().count() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let (total, node) = (chosen.score.total(), last.node.short());
            return format!("{total:.2}, next after {node} {}{n_more}", last.outcome);
        }
        let n = self.candidates.len();
        match (self.loads_unknown, n) {
            (true, _) => format!("load unknown, fewest log-ins of {n}"),
            (false, 1) => format!("{}, the only one", chosen.score),
            (false, _) if rank == 1 => format!("{}, best of {n}", chosen.score),
            (false, _) => format!("{}, number {rank} of {n}", chosen.score),
        }
    }

    /// Those that were asked and didn't take it.
    fn losers(&self) -> impl Iterator<Item = &Asked> {
        let lost = |outcome| !matches!(outcome, Outcome::NotAsked | Outcome::Admitted);
        self.candidates
            .iter()
            .filter(move |candidate| lost(candidate.outcome))
    }

    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.verdict, self.chosen()) {
            (Verdict::Placed { rank }, Some(chosen)) => write!(
                f,
                "on {}: score {}, number {rank} of {} candidates among {} servers",
                chosen.node,
                chosen.score,
                self.candidates.len(),
                self.n_eligible
            ),
            (Verdict::NotPlaced(why), _) => write!(f, "not placed: {why}"),
            (Verdict::Placed { .. }, None) => Ok(()),
        }
    }
}

impl fmt::Display for Decision {
    /// One line for logs and for `explain`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.user)?;
        self.write_verdict(f)?;
        for loser in self.losers() {
            write!(f, "; {} {}", loser.node, loser.outcome)?;
        }
        let unasked = |candidate: &&Asked| candidate.outcome == Outcome::NotAsked;
        let others = self.candidates.iter().filter(unasked);
        for (n, other) in others.take(MAX_NAMED).enumerate() {
            let lead = if n == 0 { "; behind it " } else { ", " };
            write!(f, "{lead}{} {:.2}", other.node, other.score.total())?;
        }
        for (n, Excluded { node, exclusion }) in self.excluded.iter().take(MAX_NAMED).enumerate() {
            let lead = if n == 0 { "; left out " } else { ", " };
            write!(f, "{lead}{node} {exclusion}")?;
        }
        if let Some(n_more @ 1..) = self.excluded.len().checked_sub(MAX_NAMED) {
            write!(f, " and {n_more} more")?;
        }
        if self.cut_off {
            f.write_str("; cut off, last known states used")?;
        }
        if self.loads_unknown {
            f.write_str("; no server has told its load")?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked"),
            Self::Admitted => f.write_str("took it"),
            Self::Crowded => f.write_str("crowded"),
            Self::RefusedThoughForced => f.write_str("refused"),
            Self::Excluded(exclusion) => exclusion.fmt(f),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unavailable => f.write_str("unavailable"),
        }
    }
}

/// Fits a column of a table that also has user, node and replica.
const MAX_WHY_CHARS: usize = 60;

/// As many names as a reader takes in; the rest is counted.
const MAX_NAMED: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use proto::{Drain, Readiness};

    use crate::placement::Step;
    use crate::placement::testing::{Member, begin, farm, servers, user};

    /// What is told after these answers, each to one ask: `t` timed out, `u` unavailable.
    fn check(members: &[Member], answers: &str, text: &Expect) {
        let servers = servers(members);
        let mut placement = begin(&user("alice"), &servers);
        for answer in answers.chars() {
            placement.step();
            match answer {
                't' => placement.timed_out(),
                _ => placement.unavailable(),
            }
        }
        let decision = match placement.step() {
            Step::Ask { .. } => placement.admitted(),
            Step::NoServer(_) => placement.decision(),
        };
        let why = decision.why();
        assert!(why.chars().count() <= 60, "{why}");
        text.assert_eq(&format!("{why}\n{decision}\n"));
    }

    #[test]
    fn the_best_candidate_took_it() {
        check(
            &farm(20),
            "",
            &expect![[r#"
            0.01 (cpu 0.01, memory 0.01, log-ins 0.00), best of 8
            alice on s0: score 0.01 (cpu 0.01, memory 0.01, log-ins 0.00), number 1 of 8 candidates among 20 servers; behind it s12 0.14, s13 0.20, s3 0.20, s16 0.39
        "#]],
        );
    }

    #[test]
    fn those_that_did_not_answer_are_named() {
        check(
            &farm(20),
            "tu",
            &expect![[r#"
            0.20, next after s12 unavailable and 1 more
            alice on s13: score 0.20 (cpu 0.20, memory 0.01, log-ins 0.00), number 3 of 8 candidates among 20 servers; s0 timed out; s12 unavailable; behind it s3 0.20, s16 0.39, s6 0.39, s8 0.51
        "#]],
        );
        check(
            &farm(20),
            "t",
            &expect![[r#"
            0.14, next after s0 timed out
            alice on s12: score 0.14 (cpu 0.14, memory 0.01, log-ins 0.00), number 2 of 8 candidates among 20 servers; s0 timed out; behind it s13 0.20, s3 0.20, s16 0.39, s6 0.39
        "#]],
        );
    }

    #[test]
    fn those_that_could_not_be_chosen_are_named_up_to_a_point() {
        let mut members = farm(9);
        for (i, member) in members.iter_mut().enumerate().skip(1) {
            match i {
                1 => member.suspect = true,
                2 => member.age = Duration::from_secs(12),
                _ => member.state.readiness = Readiness::Draining(Drain::new("new disks")),
            }
        }
        check(
            &members,
            "",
            &expect![[r#"
            0.01 (cpu 0.01, memory 0.01, log-ins 0.00), the only one
            alice on s0: score 0.01 (cpu 0.01, memory 0.01, log-ins 0.00), number 1 of 1 candidates among 1 servers; left out s1 suspect, s2 stale 12 s, s3 draining, s4 draining and 4 more
        "#]],
        );
        check(
            &members[1..],
            "",
            &expect![[r#"
                no server takes new sessions
                alice not placed: no server takes new sessions; left out s1 suspect, s2 stale 12 s, s3 draining, s4 draining and 4 more
            "#]],
        );
    }

    #[test]
    fn unusual_grounds_are_told() {
        let mut members = farm(2);
        for member in &mut members {
            member.age = Duration::from_secs(99);
            member.state.load = None;
        }
        check(
            &members,
            "",
            &expect![[r#"
            load unknown, fewest log-ins of 2
            alice on s0: score 0.00 (cpu 0.00, memory 0.00, log-ins 0.00), number 1 of 2 candidates among 2 servers; behind it s1 0.00; cut off, last known states used; no server has told its load
        "#]],
        );
        check(
            &[],
            "",
            &expect![[r#"
                no server is known
                alice not placed: no server is known
            "#]],
        );
    }
}
