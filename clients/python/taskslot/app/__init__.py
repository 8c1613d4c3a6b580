"""An app: functions with their policy, the queues that they are pushed into, and their schedules."""

from .app import App
from .pushed import Pushed
from .schedules import Deployed, DeployFailed
from .task import AppTask, Pusher

__all__ = ["App", "AppTask", "DeployFailed", "Deployed", "Pushed", "Pusher"]
