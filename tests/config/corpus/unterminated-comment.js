HOST="vc.example.com";
USERNAME="backup";
/* the old values
PORT=902;
TRANSPORT_MODE="nbd";
