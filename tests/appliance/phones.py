"""Telephones outside of the machine, with a SIP of their own: they share no fault with denwa's.

The machine is reached by forwarded ports, and sees everybody as 10.0.2.2; so a phone says that it is there.
"""

import hashlib
import queue
import random
import re
import selectors
import socket
import struct
import threading
import time

SEEN_AS = "10.0.2.2"
PACKET_SECONDS = 0.02


class Refused(Exception):
    """Another answer than hoped for, or none."""


def word():
    return f"{random.getrandbits(64):016x}"


def header(message, name):
    """The values of a header, in their order."""
    return [line.split(":", 1)[1].strip() for line in message.split("\r\n\r\n")[0].split("\r\n")[1:]
            if line.split(":", 1)[0].strip().lower() == name.lower()]


def first(message, name):
    return (header(message, name) or [""])[0]


class Phone:
    """One phone. `ports` leads from a UDP port of the machine to the one by which it is reached."""

    def __init__(self, ports, number, password, at="127.0.0.1", seen_as=SEEN_AS):
        self.ports, self.number, self.password, self.seen_as = ports, number, password, seen_as
        self.server = (at, ports[5060])
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((at, 0))
        self.port = self.socket.getsockname()[1]
        self.tag, self.answers = word(), {}
        # What came: the ends of calls to it, and why calls were ended.
        self.legs, self.ends = queue.Queue(), queue.Queue()
        self.is_open = True
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def close(self):
        self.is_open = False
        self.listener.join()
        self.socket.close()

    @property
    def contact(self):
        return f"<sip:{self.number}@{self.seen_as}:{self.port}>"

    def register(self, seconds=3600):
        """For how many seconds the server keeps it."""
        more = f"Contact: {self.contact}\r\nExpires: {seconds}\r\n"
        answer, _ = self._ask("REGISTER", "sip:pbx", f"<sip:{self.number}@pbx>", more)
        own = next(contact for contact in header(answer, "Contact") if f":{self.port}>" in contact)
        return int(re.search(r"expires=(\d+)", own).group(1))

    def is_answered(self, patience=0.5):
        """Whether the server says anything to OPTIONS."""
        try:
            # Whoever is not registered gets no longer answer than what it sent.
            self._ask("OPTIONS", "sip:pbx", "<sip:pbx>", f"Subject: {'x' * 600}\r\n", patience=patience, any_final=True)
            return True
        except Refused:
            return False

    def call(self, number):
        """Calls, and says what both ends need for their sound and the caller for the end."""
        media = Leg(self)
        sdp = media.sdp()
        more = f"Contact: {self.contact}\r\nContent-Type: application/sdp\r\n"
        answer, sent = self._ask("INVITE", f"sip:{number}@pbx", f"<sip:{number}@pbx>", more, body=sdp, patience=15)
        media.towards(answer)
        routes = list(reversed(header(answer, "Record-Route")))
        dialog = {
            "call": first(answer, "Call-ID"), "from": first(answer, "From"), "to": first(answer, "To"),
            "uri": re.search(r"<([^>]*)>", first(answer, "Contact")).group(1), "routes": routes, "cseq": sent,
        }
        self._send_in(dialog, "ACK", dialog["cseq"])
        return Call(self, media, dialog)

    def _send_in(self, dialog, method, cseq):
        routes = "".join(f"Route: {route}\r\n" for route in dialog["routes"])
        self._write(f"{method} {dialog['uri']} SIP/2.0\r\n{self._via()}{routes}From: {dialog['from']}\r\nTo: {dialog['to']}\r\n"
                    f"Call-ID: {dialog['call']}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")

    def _via(self):
        return f"Via: SIP/2.0/UDP {self.seen_as}:{self.port};branch=z9hG4bK{word()};rport\r\n"

    def _write(self, text):
        self.socket.sendto(text.encode(), self.server)

    def _ask(self, method, uri, to, more, body="", patience=8.0, any_final=False):
        """Sends a request, with credentials when they are asked for; the final answer and its CSeq."""
        call, cseq, credentials = word(), random.randrange(1, 1000), ""
        for _ in range(3):
            self.answers[call, cseq] = answers = queue.Queue()
            text = (f"{method} {uri} SIP/2.0\r\n{self._via()}From: <sip:{self.number}@pbx>;tag={self.tag}\r\nTo: {to}\r\n"
                    f"Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{credentials}{more}"
                    f"Content-Length: {len(body)}\r\n\r\n{body}")
            answer = self._final(text, answers, patience)
            status = int(answer.split(" ")[1])
            if method == "INVITE" and status >= 300:
                via = re.search(r"Via: [^\r]*\r\n", text).group(0)
                self._write(f"ACK {uri} SIP/2.0\r\n{via}From: <sip:{self.number}@pbx>;tag={self.tag}\r\nTo: {first(answer, 'To')}\r\n"
                            f"Call-ID: {call}\r\nCSeq: {cseq} ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
            if status == 200 or any_final:
                return answer, cseq
            if status not in (401, 407):
                break
            credentials, cseq = self._credentials(answer, method, uri, status), cseq + 1
        raise Refused(f"{method} of {self.number}: {answer.splitlines()[0]}")

    def _final(self, text, answers, patience):
        """Repeats a request as RFC 3261 17.1 has it, until there is a final answer or no patience."""
        end, wait, is_heard = time.monotonic() + patience, 0.5, False
        self._write(text)
        while (left := end - time.monotonic()) > 0:
            try:
                answer = answers.get(timeout=min(wait, left))
                is_heard = True
                if int(answer.split(" ")[1]) >= 200:
                    return answer
            except queue.Empty:
                wait *= 2
                if not is_heard:
                    self._write(text)
        raise Refused(f"no answer to {text.splitlines()[0]} within {patience} s")

    def _credentials(self, answer, method, uri, status):
        challenge = next(c for c in header(answer, "WWW-Authenticate") + header(answer, "Proxy-Authenticate")
                         if "SHA-256" not in c)
        part = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge))
        md5 = lambda text: hashlib.md5(text.encode()).hexdigest()
        secret, what, mine = md5(f"{self.number}:{part['realm']}:{self.password}"), md5(f"{method}:{uri}"), word()
        response = md5(f"{secret}:{part['nonce']}:00000001:{mine}:auth:{what}")
        name = "Authorization" if status == 401 else "Proxy-Authorization"
        opaque = f', opaque="{part["opaque"]}"' if "opaque" in part else ""
        return (f'{name}: Digest username="{self.number}", realm="{part["realm"]}", nonce="{part["nonce"]}", uri="{uri}", '
                f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{mine}"{opaque}\r\n')

    def _listen(self):
        self.socket.settimeout(0.2)
        accepted = {}
        while self.is_open:
            try:
                text = self.socket.recv(65536).decode(errors="replace")
            except (TimeoutError, ConnectionError):
                continue
            call, (cseq, method) = first(text, "Call-ID"), (first(text, "CSeq").split() + ["", ""])[:2]
            if text.startswith("SIP/2.0 "):
                if (answers := self.answers.get((call, int(cseq)))) is not None:
                    answers.put(text)
            elif method == "INVITE" and ";tag=" not in first(text, "To"):
                if call not in accepted:
                    leg = Leg(self)
                    leg.towards(text)
                    accepted[call] = self._answer(text, leg.sdp())
                    self.legs.put(leg)
                self._write(accepted[call])
            elif method and method != "ACK":
                if method == "BYE":
                    self.ends.put(first(text, "Reason"))
                self._write(self._answer(text, ""))

    def _answer(self, request, sdp):
        kept = "".join(f"{name}: {value}\r\n" for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq")
                       for value in header(request, name))
        to = first(request, "To")
        to += "" if ";tag=" in to else f";tag={self.tag}"
        kind = "Content-Type: application/sdp\r\n" if sdp else ""
        return f"SIP/2.0 200 OK\r\n{kept}To: {to}\r\nContact: {self.contact}\r\n{kind}Content-Length: {len(sdp)}\r\n\r\n{sdp}"


class Call:
    """A call that was answered, at the caller's end."""

    def __init__(self, phone, media, dialog):
        self.phone, self.media, self.dialog = phone, media, dialog

    def hang_up(self):
        cseq = self.dialog["cseq"] + 1
        self.phone.answers[self.dialog["call"], cseq] = answers = queue.Queue()
        self.phone._send_in(self.dialog, "BYE", cseq)
        try:
            answer = answers.get(timeout=8)
        except queue.Empty:
            raise Refused("no answer to BYE within 8 s") from None
        if " 200 " not in answer.splitlines()[0]:
            raise Refused(f"BYE: {answer.splitlines()[0]}")


class Leg:
    """The sound of one end: what it sends is numbered, and what it hears is counted."""

    def __init__(self, phone):
        self.phone, self.source = phone, random.getrandbits(32)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((phone.server[0], 0))
        self.sent, self.heard, self.last, self.longest = 0, set(), None, 0.0

    def sdp(self):
        port, at = self.socket.getsockname()[1], self.phone.seen_as
        return (f"v=0\r\no=- 1 1 IN IP4 {at}\r\ns=-\r\nc=IN IP4 {at}\r\nt=0 0\r\n"
                f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n")

    def towards(self, message):
        port = int(re.search(r"^m=audio (\d+)", message, re.M).group(1))
        self.target = (self.phone.server[0], self.phone.ports[port])

    def send(self):
        packet = struct.pack("!BBHII", 0x80, 0, self.sent & 0xFFFF, self.sent * 160, self.source) + bytes(160)
        self.socket.sendto(packet, self.target)
        self.sent += 1

    def hear(self):
        now = time.monotonic()
        self.heard.add(struct.unpack("!H", self.socket.recv(2048)[2:4])[0])
        self.longest, self.last = max(self.longest, now - (self.last or now)), now


class Talk(threading.Thread):
    """Both ends of calls speak until `stop`: 50 packets a second each."""

    def __init__(self, pairs):
        super().__init__(daemon=True)
        self.pairs, self.until = pairs, None
        self.legs = list(dict.fromkeys(leg for pair in pairs for leg in pair))
        self.start()

    def run(self):
        with selectors.DefaultSelector() as selector:
            for leg in self.legs:
                selector.register(leg.socket, selectors.EVENT_READ, leg)
            # Not all at the same moment, as people do not begin to speak at the same moment.
            due = [time.monotonic() + PACKET_SECONDS * i / len(self.legs) for i in range(len(self.legs))]
            while (now := time.monotonic()) < (self.until or now + 1):
                for i, leg in enumerate(self.legs):
                    if due[i] <= now and self.until is None:
                        leg.send()
                        due[i] += PACKET_SECONDS
                for key, _ in selector.select(0.001):
                    key.data.hear()

    def stop(self):
        """Packets sent, and how many of them were lost; what is under way for a second yet is not."""
        self.until = time.monotonic() + 1
        self.join()
        return sum(leg.sent for leg in self.legs), self.lost()

    def lost(self):
        return sum(a.sent - len(b.heard) + b.sent - len(a.heard) for a, b in self.pairs)

    def longest_silence(self):
        return max(leg.longest for leg in self.legs)
