//! What do users notice when a server's packets vanish?

use crate::mesh::Mesh;
use crate::server_lost::{LOST, check_losing, check_return};

#[test]
fn no_login_fails_or_waits_when_a_host_is_cut_off() {
    let Some(mut mesh) = Mesh::up() else { return };
    check_losing(&mut mesh, |mesh| mesh.lab.cut_off(LOST).unwrap());
    mesh.lab.restore(LOST).unwrap();
    check_return(&mut mesh);
}
