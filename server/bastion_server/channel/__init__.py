"""Everything between the server's socket and the service: keys, authentication, sessions, streams, uploads."""

from bastion_server.channel.bootstrap import Bootstrap
from bastion_server.channel.keys import KeyDirectory, Principal
from bastion_server.channel.limits import Limits
from bastion_server.channel.router import Channel, Handler
from bastion_server.channel.sessions import Incoming
from bastion_server.channel.uploads import UploadSink

__all__ = ["Bootstrap", "Channel", "Handler", "Incoming", "KeyDirectory", "Limits", "Principal", "UploadSink"]
