HOST="vc.example.com";
USERNAME="CORP\\backup";
BACKUPROOT="c:\mnt";
PASSWORD_FILE="c:\temp\new.txt";
CA_FILE="/etc/ssl/my\\ca.pem";
