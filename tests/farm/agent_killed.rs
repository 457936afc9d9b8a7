//! What do users notice when an agent is killed?

use crate::mesh::Mesh;
use crate::server_lost::{LOST, check_losing, check_return};

#[test]
fn no_login_fails_or_waits_when_an_agent_is_killed() {
    let Some(mut mesh) = Mesh::up() else { return };
    check_losing(&mut mesh, |mesh| mesh.agent(LOST).kill().unwrap());
    mesh.start_agent(LOST);
    check_return(&mut mesh);
}
