//! The agent on each X2Go server: it tells the truth about its sessions and load, and
//! decides who may start a session here.
//!
//! [`inventory`] owns the state. It is fed by the session database, which is only ever
//! read and never locked (see [`SessionDatabase`]), and by [`load`]. [`admission`] decides,
//! as a pure function. [`service`] answers brokers and operators over gRPC, after
//! [`authorise`] has checked their certificates. [`advertise`] gossips readiness and load.
//! [`operations`] suspends and terminates sessions: [`shim_client`] runs the setuid program,
//! the inventory shows that it has happened. [`desktops`] says by the same program what a user
//! may watch. [`evacuation`] has sessions suspended or ended when a drain has come to its deadline.
//! [`keys`] has keys open accounts for a short
//! while, and sees to it that they go again; [`authorized_keys`] is a program of its own
//! by which sshd asks for them. [`app`] puts the parts together.
//!
//! Deliberately absent: PostgreSQL session databases; any decision about other servers; any write to x2goserver's files.
//!
//! [`SessionDatabase`]: inventory::SessionDatabase

pub mod admission;
pub mod advertise;
pub mod app;
pub mod authorise;
pub mod authorized_keys;
pub mod cli;
pub mod config;
pub mod desktops;
pub mod evacuation;
pub mod host;
pub mod inventory;
pub mod keys;
pub mod load;
pub mod operations;
pub mod service;
pub mod shim_client;
