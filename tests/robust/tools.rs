//! Do the companion tools of x2gobroker 0.0.4.3 do what their options say?

mod account;
mod keygen;
mod loadchecker;
mod pubkeyauthorizer;
mod testauth;
