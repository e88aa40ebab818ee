"""Keys that come in one burst, as over a slow line, do what they would have done one by one.

Textual hands a key to the focused widget; what the widget does not type travels up to the app, which looks for its
binding only there. Of three Backspaces and a word in one burst the word is typed first and loses its end, and of "/"
and a word the word is taken for commands. Here the next key waits until the one before has been answered.
"""

from collections import deque
from time import monotonic
from typing import Any

from textual import events, on
from textual.app import App, ReturnType
from textual.message import Message
from textual.screen import Screen

_PATIENCE = 1.0
"""Seconds after which a key is no longer waited for: Esc must reach a console whose widget is busy."""


class KeysInOrder(App[ReturnType]):
    """Put it before the class that it extends."""

    class Struck(Message):
        """Sent after a key along its way: widget, screen, app. Where it arrives, the key has been before."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._keys: deque[events.Key | events.Paste] = deque()
        self._number = 0
        self._under_way = False
        self._since = 0.0
        self._struck_on: Screen[Any] | None = None

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._under_way and monotonic() - self._since < _PATIENCE:
            if not self._keys:
                self.set_timer(_PATIENCE, self._give_up)
            self._keys.append(event)
        else:
            self._keys.append(event)
            await self._strike()

    async def _strike(self) -> None:
        """The oldest key that waits."""
        event = self._keys.popleft()
        self._under_way, self._since, self._struck_on = True, monotonic(), self.screen
        target = self.focused or self.screen
        await super().on_event(event)
        self._follow(target)

    def _follow(self, target: Any) -> None:
        self._number += 1
        if not target.post_message(self.Struck(self._number)):
            self.call_later(self._next, self._number)

    @on(Struck)
    def _answered(self, message: Struck) -> None:
        message.stop()
        self.call_later(self._next, message.number)  # after the change of focus that the key may have asked for

    async def _next(self, number: int) -> None:
        if number != self._number or not self._under_way:
            return
        if self.screen is not self._struck_on:  # a dialog opens: the next key is for it
            self._struck_on = self.screen
            self._follow(self.screen)
            return
        self._under_way = False
        if self._keys:
            await self._strike()

    async def _give_up(self) -> None:
        """The answer got lost with its widget, or takes long."""
        if self._under_way and monotonic() - self._since >= _PATIENCE:
            self._under_way = False
            if self._keys:
                await self._strike()
        elif self._keys:
            self.set_timer(_PATIENCE, self._give_up)
