//! What a session does from its log-in to its end.

use proto::Username;

use super::{Event, World};
use crate::rng::Rng;
use crate::server::Account;
use crate::workload::{Draft, Resident};

/// A session, from its log-in to its end.
#[derive(Debug)]
pub(super) struct Session {
    draft: Draft,
    server: usize,
    user: Option<Username>,
    rng: Rng,
    memory: f64,
    account: Account,
    alive: bool,
    /// Where its server keeps its account while it is active.
    slot: Option<usize>,
    /// Grows when the session is suspended, so that old switches are known.
    awakening: u32,
    high: bool,
    login: Option<Login>,
}

#[derive(Clone, Copy, Debug)]
struct Login {
    began: f64,
    work: f64,
    left: f64,
}

impl World {
    pub(super) fn add_session(
        &mut self,
        draft: Draft,
        server: usize,
        user: Option<Username>,
    ) -> usize {
        let rng = Rng::new(draft.seed, 0);
        self.sessions.push(Session {
            draft,
            server,
            user,
            rng,
            memory: 0.0,
            account: Account::new(0.0, 0.0, self.now),
            alive: true,
            slot: None,
            awakening: 0,
            high: false,
            login: None,
        });
        self.sessions.len() - 1
    }

    /// Puts one of the sessions of the first moment in its place.
    pub(super) fn settle_in(&mut self, resident: Resident) {
        let Resident {
            draft,
            asleep,
            server,
        } = resident;
        let (life, cpu, memory) = (draft.life, draft.cpu, draft.memory);
        let suspendable = draft.suspendable;
        let session = self.add_session(draft, server, None);
        self.sessions[session].account = Account::new(1800.0 * cpu, 1800.0, 0.0);
        self.grow(session, 1.0);
        self.servers[server].grown_memory += memory;
        if asleep {
            self.servers[server].n_suspended += 1;
            let seconds = self.sessions[session].rng.exp(SUSPENDED_SECONDS);
            self.after(seconds, Event::Cycle(session));
        } else {
            self.wake(session);
            if suspendable {
                let seconds = self.sessions[session].rng.exp(ACTIVE_SECONDS);
                self.after(seconds, Event::Cycle(session));
            }
        }
        self.after(life, Event::End(session));
    }

    pub(super) fn start(&mut self, session: usize) {
        let now = self.now;
        self.arrived_or_given_up(session);
        let work = self.sessions[session].rng.logn(15.0, 0.4);
        let Session {
            draft,
            server,
            user,
            login,
            ..
        } = &mut self.sessions[session];
        *login = Some(Login {
            began: now,
            work,
            left: work,
        });
        let (server, life) = (*server, draft.life);
        let (suspendable, lag, memory) = (draft.suspendable, draft.lag, draft.memory);
        if let Some(user) = user {
            self.servers[server].fulfil(user);
        }
        self.servers[server].change_demand(LOGIN_CORES, now);
        // While it logs in it counts among those that the omniscient rule holds back for.
        self.coming[server].2 += 1;
        self.servers[server].grown_memory += memory;
        self.grow(session, 0.4);
        for seconds in [200.0, 400.0, 600.0] {
            self.after(seconds, Event::Grow(session));
        }
        self.wake(session);
        self.servers[server].is_young(now);
        self.after(LOGIN_TICK, Event::LoginTick(session));
        if suspendable {
            let seconds = self.sessions[session].rng.exp(ACTIVE_SECONDS);
            self.after(seconds, Event::Cycle(session));
        }
        self.after((life - lag).max(30.0), Event::End(session));
    }

    pub(super) fn arrived_or_given_up(&mut self, session: usize) {
        let Session { draft, server, .. } = &self.sessions[session];
        let (cpu, memory, n) = &mut self.coming[*server];
        *cpu -= draft.cpu;
        *memory -= draft.memory;
        *n -= 1;
    }

    pub(super) fn login_tick(&mut self, session: usize) {
        let now = self.now;
        let Session { server, login, .. } = &mut self.sessions[session];
        let Some(running) = login else { return };
        let known = &mut self.servers[*server];
        running.left -= LOGIN_TICK * LOGIN_CORES * known.share();
        if running.left > 0.0 {
            self.after(LOGIN_TICK, Event::LoginTick(session));
            return;
        }
        let ideal = running.work / LOGIN_CORES;
        self.meter
            .logged_in((now - running.began) / ideal, running.began);
        known.change_demand(-LOGIN_CORES, now);
        self.coming[*server].2 -= 1;
        *login = None;
    }

    fn wake(&mut self, session: usize) {
        let now = self.now;
        let Session {
            draft,
            server,
            account,
            slot,
            high,
            rng,
            ..
        } = &mut self.sessions[session];
        *high = rng.unit() >= 0.2; // the switch that follows turns it round
        *slot = Some(self.servers[*server].activate(*account, draft.cpu, now));
        let awakening = self.sessions[session].awakening;
        self.switch(session, awakening);
    }

    /// Sessions alternate between much and little CPU.
    pub(super) fn switch(&mut self, session: usize, awakening: u32) {
        let now = self.now;
        let of = &mut self.sessions[session];
        let Some(slot) = of.slot.filter(|_| of.awakening == awakening) else {
            return;
        };
        of.high = !of.high;
        let (factor, mean) = if of.high { (3.8, 20.0) } else { (0.3, 80.0) };
        let seconds = of.rng.exp(mean);
        self.servers[of.server].set_level(slot, factor * of.draft.cpu, now);
        self.after(seconds, Event::Switch { session, awakening });
    }

    pub(super) fn grow(&mut self, session: usize, share: f64) {
        let of = &mut self.sessions[session];
        if of.alive {
            of.memory += share * of.draft.memory;
            self.servers[of.server].memory += share * of.draft.memory;
        }
    }

    /// Suspends an active session, resumes a suspended one.
    pub(super) fn cycle(&mut self, session: usize) {
        if !self.sessions[session].alive {
            return;
        }
        let server = self.sessions[session].server;
        let mean = if self.sessions[session].slot.is_some() {
            self.put_to_sleep(session);
            self.servers[server].n_suspended += 1;
            SUSPENDED_SECONDS
        } else {
            self.servers[server].n_suspended -= 1;
            self.servers[server].is_young(self.now);
            self.wake(session);
            ACTIVE_SECONDS
        };
        let seconds = self.sessions[session].rng.exp(mean);
        self.after(seconds, Event::Cycle(session));
    }

    fn put_to_sleep(&mut self, session: usize) {
        let now = self.now;
        let of = &mut self.sessions[session];
        of.awakening += 1;
        let Some(slot) = of.slot.take() else { return };
        if let Some(account) = self.servers[of.server].deactivate(slot, of.draft.cpu, now) {
            of.account = account;
        }
    }

    pub(super) fn end(&mut self, session: usize) {
        if self.sessions[session].slot.is_some() {
            self.put_to_sleep(session);
        } else {
            self.servers[self.sessions[session].server].n_suspended -= 1;
        }
        let of = &mut self.sessions[session];
        of.alive = false;
        self.servers[of.server].memory -= of.memory;
        self.servers[of.server].grown_memory -= of.draft.memory;
    }
}

const ACTIVE_SECONDS: f64 = 3600.0;
const SUSPENDED_SECONDS: f64 = 5400.0;
const LOGIN_CORES: f64 = 1.5;
const LOGIN_TICK: f64 = 0.25;
