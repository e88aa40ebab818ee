* Generic settings of the proxy. Copied from a page of the web,
* where the comment signs of the blocks did not survive.

* The server to talk to. Use its full name, not “localhost”.
HOST=”vcenter.example.com”;

* Port of the service, normally 443
// PORT=”443″;

* A user “with the role”. There is no default.
USERNAME=“backup”;

* How data travels:
* +) “san”
*    straight from the LUN
* +) “nbd” –
*    through the host
TRANSPORT_MODE=“nbdssl″;

LOGLEVEL=‘4’;
