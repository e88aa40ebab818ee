// It’s been through a word processor
HOST=“vc.example.com”;
USERNAME=‘backup’;
TRANSPORT_MODE=„nbdssl“;
