//! What do the benches have in common? Real programs on the loopback, and figures that are
//! compared with what was promised.
//!
//! * [`promises`]: figures in readable lines, and the exit code;
//! * [`farm`]: certificates, a replica and agents, all of them real processes;
//! * [`load`] and [`https`]: clients on keep-alive HTTPS connections;
//! * [`bare`]: an HTTPS server that does nothing, to compare with;
//! * [`crowd`]: hundreds of X2Go servers played by one process, towards real programs.
//!
//! A bench must not leave processes behind: they end with it, however it ends.

pub mod bare;
pub mod crowd;
pub mod farm;
pub mod https;
pub mod load;
pub mod promises;
