"""Runs the installed pyhoca-cli so that it can read the profiles of a broker.

python3-x2go 0.6.1.3 asks for each text of a broker's profile as bytes, which Python 3 can't
make of a text without an encoding: the program ends at the first profile. Here texts stay
texts. It also makes a deep copy of its own key, which Python's cryptography does not bear:
here the copy is the key itself. Nothing else is changed.
"""
import runpy
import sys

import paramiko
from x2go.backends.profiles.httpbroker import X2GoSessionProfiles

PROGRAM = "/usr/bin/pyhoca-cli"
as_installed = X2GoSessionProfiles._get_profile_parameter


def with_texts(self, profile, option, key_type):
    kind = (lambda value: value) if key_type is bytes else key_type
    return as_installed(self, profile, option, kind)


X2GoSessionProfiles._get_profile_parameter = with_texts
paramiko.PKey.__deepcopy__ = lambda key, memo: key
sys.argv[0] = PROGRAM
runpy.run_path(PROGRAM, run_name="__main__")
